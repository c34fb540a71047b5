src/worker/worker.o: src/worker/worker.cpp src/server/owner.hpp \
 src/server/prelude.hpp src/server/shared.hpp src/gate/denials.hpp \
 src/outbox/delivery.hpp src/settings/settings.hpp \
 src/worker/extension.hpp src/worker/prompts.hpp src/worker/worker.hpp
src/server/owner.hpp:
src/server/prelude.hpp:
src/server/shared.hpp:
src/gate/denials.hpp:
src/outbox/delivery.hpp:
src/settings/settings.hpp:
src/worker/extension.hpp:
src/worker/prompts.hpp:
src/worker/worker.hpp:
