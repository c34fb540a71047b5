src/settings/secret_file.o: src/settings/secret_file.cpp \
 src/settings/secret_file.hpp src/server/prelude.hpp
src/settings/secret_file.hpp:
src/server/prelude.hpp:
