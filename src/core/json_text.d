src/core/json_text.o: src/core/json_text.cpp src/core/json_text.hpp
src/core/json_text.hpp:
