src/core/email_template.o: src/core/email_template.cpp \
 src/core/email_template.hpp src/core/characters.hpp \
 src/core/plain_text.hpp
src/core/email_template.hpp:
src/core/characters.hpp:
src/core/plain_text.hpp:
