src/webhooks/stripe.o: src/webhooks/stripe.cpp src/server/owner.hpp \
 src/server/prelude.hpp src/server/shared.hpp src/server/text.hpp \
 src/core/bytes.hpp src/settings/secret_file.hpp \
 src/settings/settings.hpp src/core/signature.hpp \
 src/core/stripe_event.hpp
src/server/owner.hpp:
src/server/prelude.hpp:
src/server/shared.hpp:
src/server/text.hpp:
src/core/bytes.hpp:
src/settings/secret_file.hpp:
src/settings/settings.hpp:
src/core/signature.hpp:
src/core/stripe_event.hpp:
