src/core/window.o: src/core/window.cpp src/core/window.hpp
src/core/window.hpp:
