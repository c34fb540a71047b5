src/core/stripe_event.o: src/core/stripe_event.cpp \
 src/core/stripe_event.hpp src/core/bytes.hpp src/core/json_text.hpp \
 src/core/message.hpp src/core/plain_text.hpp
src/core/stripe_event.hpp:
src/core/bytes.hpp:
src/core/json_text.hpp:
src/core/message.hpp:
src/core/plain_text.hpp:
