src/worker/extension.o: src/worker/extension.cpp src/worker/extension.hpp \
 src/server/prelude.hpp
src/worker/extension.hpp:
src/server/prelude.hpp:
