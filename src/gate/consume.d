src/gate/consume.o: src/gate/consume.cpp src/gate/consume.hpp \
 src/gate/arguments.hpp src/gate/denials.hpp src/server/prelude.hpp \
 src/gate/decision.hpp src/gate/counter.hpp src/gate/entitlement.hpp \
 src/server/owner.hpp src/server/shared.hpp
src/gate/consume.hpp:
src/gate/arguments.hpp:
src/gate/denials.hpp:
src/server/prelude.hpp:
src/gate/decision.hpp:
src/gate/counter.hpp:
src/gate/entitlement.hpp:
src/server/owner.hpp:
src/server/shared.hpp:
