src/core/bytes.o: src/core/bytes.cpp src/core/bytes.hpp
src/core/bytes.hpp:
