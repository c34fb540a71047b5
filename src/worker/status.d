src/worker/status.o: src/worker/status.cpp src/gate/denials.hpp \
 src/server/prelude.hpp src/server/shared.hpp
src/gate/denials.hpp:
src/server/prelude.hpp:
src/server/shared.hpp:
