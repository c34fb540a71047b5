src/core/email.o: src/core/email.cpp src/core/email.hpp \
 src/core/bytes.hpp src/core/characters.hpp src/core/email_template.hpp \
 src/core/json_text.hpp src/core/message.hpp src/core/plain_text.hpp
src/core/email.hpp:
src/core/bytes.hpp:
src/core/characters.hpp:
src/core/email_template.hpp:
src/core/json_text.hpp:
src/core/message.hpp:
src/core/plain_text.hpp:
