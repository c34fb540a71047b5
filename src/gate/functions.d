src/gate/functions.o: src/gate/functions.cpp src/gate/consume.hpp \
 src/gate/arguments.hpp src/gate/denials.hpp src/server/prelude.hpp \
 src/gate/decision.hpp src/gate/counter.hpp src/gate/entitlement.hpp \
 src/server/owner.hpp src/server/shared.hpp src/server/text.hpp \
 src/core/bytes.hpp src/core/endpoint.hpp
src/gate/consume.hpp:
src/gate/arguments.hpp:
src/gate/denials.hpp:
src/server/prelude.hpp:
src/gate/decision.hpp:
src/gate/counter.hpp:
src/gate/entitlement.hpp:
src/server/owner.hpp:
src/server/shared.hpp:
src/server/text.hpp:
src/core/bytes.hpp:
src/core/endpoint.hpp:
