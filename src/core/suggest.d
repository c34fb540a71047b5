src/core/suggest.o: src/core/suggest.cpp src/core/suggest.hpp
src/core/suggest.hpp:
