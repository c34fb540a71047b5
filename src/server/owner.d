src/server/owner.o: src/server/owner.cpp src/server/owner.hpp \
 src/server/prelude.hpp
src/server/owner.hpp:
src/server/prelude.hpp:
