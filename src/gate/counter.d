src/gate/counter.o: src/gate/counter.cpp src/gate/counter.hpp \
 src/gate/entitlement.hpp src/gate/decision.hpp src/server/prelude.hpp \
 src/server/owner.hpp
src/gate/counter.hpp:
src/gate/entitlement.hpp:
src/gate/decision.hpp:
src/server/prelude.hpp:
src/server/owner.hpp:
