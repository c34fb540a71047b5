src/outbox/render.o: src/outbox/render.cpp src/server/shared.hpp \
 src/server/prelude.hpp src/server/text.hpp src/core/bytes.hpp \
 src/core/email.hpp
src/server/shared.hpp:
src/server/prelude.hpp:
src/server/text.hpp:
src/core/bytes.hpp:
src/core/email.hpp:
