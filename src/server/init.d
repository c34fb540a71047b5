src/server/init.o: src/server/init.cpp src/server/shared.hpp \
 src/server/prelude.hpp src/settings/settings.hpp src/worker/barrier.hpp \
 src/worker/launcher.hpp
src/server/shared.hpp:
src/server/prelude.hpp:
src/settings/settings.hpp:
src/worker/barrier.hpp:
src/worker/launcher.hpp:
