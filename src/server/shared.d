src/server/shared.o: src/server/shared.cpp src/server/shared.hpp \
 src/server/prelude.hpp src/gate/denials.hpp src/settings/settings.hpp
src/server/shared.hpp:
src/server/prelude.hpp:
src/gate/denials.hpp:
src/settings/settings.hpp:
