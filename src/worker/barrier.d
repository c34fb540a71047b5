src/worker/barrier.o: src/worker/barrier.cpp src/worker/barrier.hpp \
 src/server/prelude.hpp src/server/shared.hpp
src/worker/barrier.hpp:
src/server/prelude.hpp:
src/server/shared.hpp:
