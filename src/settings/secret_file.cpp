/*
 * secret_file.cpp: reading secret files under the rules of ssl_key_file.
 */
#include "settings/secret_file.hpp"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skene
{

namespace
{

/* A copy of the data directory must not carry the right to send. */
bool
in_data_directory(const char *path)
{
    char file[PATH_MAX];
    char directory[PATH_MAX];
    size_t length;

    if (!realpath(path, file) || !realpath(DataDir, directory))
        return false;
    length = strlen(directory);
    return strncmp(file, directory, length) == 0 && file[length] == '/';
}

/* Check an open file; null when it may be used, else why not. */
const char *
refusal(const char *path, int file)
{
    struct stat status;

    if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode))
        return "is not a regular file";
    if (status.st_uid != geteuid() && status.st_uid != 0)
        return "must be owned by the server's user or root";
    if ((status.st_uid == geteuid() && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0) ||
        (status.st_uid == 0 && (status.st_mode & (S_IWGRP | S_IXGRP | S_IRWXO)) != 0))
        return "has group or world access; it needs mode 0600, or 0640 if owned by root";
    if (status.st_size > max_secret_bytes)
        return "is too large";
    if (in_data_directory(path))
        return "lies in the data directory, so that copies of it would carry the secret";
    return nullptr;
}

} // namespace

bool
read_secret(const char *setting, const char *path, Secret *secret, char *reason, size_t reason_size)
{
    const char *refused;
    int file;

    secret->size = 0;
    if (path[0] == '\0') {
        snprintf(reason, reason_size, "%s is not set", setting);
        return false;
    }
    file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) {
        int error = errno;
        snprintf(reason, reason_size, "could not open the file named by %s: %s", setting,
                 strerror(error));
        return false;
    }
    refused = refusal(path, file);
    if (refused) {
        snprintf(reason, reason_size, "the file named by %s %s", setting, refused);
        close(file);
        return false;
    }
    while (secret->size < max_secret_bytes) {
        ssize_t got = read(file, secret->text + secret->size, max_secret_bytes - secret->size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        secret->size += static_cast<int>(got);
    }
    close(file);
    while (secret->size > 0 && isspace(static_cast<unsigned char>(secret->text[secret->size - 1])))
        secret->size--;
    secret->text[secret->size] = '\0';
    if (secret->size == 0) {
        snprintf(reason, reason_size, "the file named by %s is empty", setting);
        return false;
    }
    return true;
}

void
wipe(Secret *secret)
{
    explicit_bzero(secret, sizeof(*secret));
}

} // namespace skene
