src/worker/prompts.o: src/worker/prompts.cpp src/worker/prompts.hpp \
 src/gate/denials.hpp src/server/prelude.hpp src/server/shared.hpp \
 src/worker/worker.hpp src/server/owner.hpp
src/worker/prompts.hpp:
src/gate/denials.hpp:
src/server/prelude.hpp:
src/server/shared.hpp:
src/worker/worker.hpp:
src/server/owner.hpp:
