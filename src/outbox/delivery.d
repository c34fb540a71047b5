src/outbox/delivery.o: src/outbox/delivery.cpp src/outbox/delivery.hpp \
 src/server/prelude.hpp src/server/owner.hpp src/server/shared.hpp \
 src/settings/secret_file.hpp src/settings/settings.hpp \
 src/worker/worker.hpp src/core/delivery_policy.hpp \
 src/core/http_client.hpp
src/outbox/delivery.hpp:
src/server/prelude.hpp:
src/server/owner.hpp:
src/server/shared.hpp:
src/settings/secret_file.hpp:
src/settings/settings.hpp:
src/worker/worker.hpp:
src/core/delivery_policy.hpp:
src/core/http_client.hpp:
