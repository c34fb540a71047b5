src/gate/arguments.o: src/gate/arguments.cpp src/gate/arguments.hpp \
 src/gate/denials.hpp src/server/prelude.hpp
src/gate/arguments.hpp:
src/gate/denials.hpp:
src/server/prelude.hpp:
