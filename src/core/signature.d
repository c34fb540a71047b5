src/core/signature.o: src/core/signature.cpp src/core/signature.hpp \
 src/core/characters.hpp src/core/plain_text.hpp
src/core/signature.hpp:
src/core/characters.hpp:
src/core/plain_text.hpp:
