src/core/endpoint.o: src/core/endpoint.cpp src/core/endpoint.hpp \
 src/core/characters.hpp
src/core/endpoint.hpp:
src/core/characters.hpp:
