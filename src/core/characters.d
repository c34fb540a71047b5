src/core/characters.o: src/core/characters.cpp src/core/characters.hpp
src/core/characters.hpp:
