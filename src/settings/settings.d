src/settings/settings.o: src/settings/settings.cpp \
 src/settings/settings.hpp src/server/prelude.hpp
src/settings/settings.hpp:
src/server/prelude.hpp:
