src/worker/launcher.o: src/worker/launcher.cpp src/worker/launcher.hpp \
 src/server/prelude.hpp src/gate/denials.hpp src/server/shared.hpp
src/worker/launcher.hpp:
src/server/prelude.hpp:
src/gate/denials.hpp:
src/server/shared.hpp:
