src/gate/entitlement.o: src/gate/entitlement.cpp src/gate/entitlement.hpp \
 src/gate/decision.hpp src/server/prelude.hpp src/core/window.hpp \
 src/server/owner.hpp
src/gate/entitlement.hpp:
src/gate/decision.hpp:
src/server/prelude.hpp:
src/core/window.hpp:
src/server/owner.hpp:
