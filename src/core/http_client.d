src/core/http_client.o: src/core/http_client.cpp src/core/http_client.hpp
src/core/http_client.hpp:
