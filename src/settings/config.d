src/settings/config.o: src/settings/config.cpp src/server/shared.hpp \
 src/server/prelude.hpp src/server/text.hpp src/core/bytes.hpp \
 src/core/config.hpp
src/server/shared.hpp:
src/server/prelude.hpp:
src/server/text.hpp:
src/core/bytes.hpp:
src/core/config.hpp:
