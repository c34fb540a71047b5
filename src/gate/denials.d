src/gate/denials.o: src/gate/denials.cpp src/gate/denials.hpp \
 src/server/prelude.hpp src/server/shared.hpp src/settings/settings.hpp
src/gate/denials.hpp:
src/server/prelude.hpp:
src/server/shared.hpp:
src/settings/settings.hpp:
