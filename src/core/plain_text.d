src/core/plain_text.o: src/core/plain_text.cpp src/core/plain_text.hpp \
 src/core/characters.hpp
src/core/plain_text.hpp:
src/core/characters.hpp:
