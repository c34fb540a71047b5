src/core/delivery_policy.o: src/core/delivery_policy.cpp \
 src/core/delivery_policy.hpp src/core/http_client.hpp
src/core/delivery_policy.hpp:
src/core/http_client.hpp:
