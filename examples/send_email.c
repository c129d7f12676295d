/*
 * send_email: one mail to each address, several at once, over SMTP.
 *
 *     send_email smtp://127.0.0.1:25 from@example.org to@example.org ...
 *
 * A mail that was not delivered because the server was busy or the connection broke is sent once more,
 * by the on_error hook; one that the server refused for good is not. If the connection breaks after the
 * server took the mail and before it said so, the second attempt delivers it twice: both then carry the
 * same Message-ID, by which mail programs know them for one.
 *
 * Exit status: 0 if every mail was sent, 1 if not, 2 for a wrong argument.
 */
#define _GNU_SOURCE 1 /* getentropy */
#include <runium.h>

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { AT_ONCE = 8, TEXT_SIZE = 2048, REPLY_SIZE = 512, PERMANENT = 500 };

struct mail {
    const char *server, *from, *to;
    char text[TEXT_SIZE];
};

/* What one attempt needs while libcurl works on it. */
struct attempt {
    const char *unsent;
    char refusal[REPLY_SIZE];
    char curl_message[CURL_ERROR_SIZE];
};

static atomic_uint attempts; /* counted by several threads */

/* ---- SMTP, with libcurl ---- */

static size_t read_text(char *buffer, size_t size, size_t count, void *context) {
    struct attempt *attempt = context;
    size_t length = strnlen(attempt->unsent, size * count);
    memcpy(buffer, attempt->unsent, length);
    attempt->unsent += length;
    return length;
}

/*
 * libcurl passes every line that the server says. Kept is a refusal that ends the conversation, but for the
 * farewell: one that libcurl found a way around, such as that of an extension, is followed by other replies.
 */
static size_t keep_refusal(char *line, size_t size, size_t count, void *context) {
    struct attempt *attempt = context;
    size_t length = size * count;
    bool refuses = length > 0 && (line[0] == '4' || line[0] == '5');
    bool farewell = length >= 3 && memcmp(line, "221", 3) == 0;
    if (!farewell) attempt->refusal[0] = '\0';
    if (!refuses) return length;
    while (isspace((unsigned char)line[length - 1])) length--;
    snprintf(attempt->refusal, REPLY_SIZE, "%.*s", (int)length, line);
    for (char *c = attempt->refusal; *c != '\0'; c++)
        if (!isprint((unsigned char)*c)) *c = '?'; /* it is going to be printed, perhaps on a terminal */
    return size * count;
}

static CURLcode transfer(CURL *curl, const struct mail *mail, struct attempt *attempt, struct curl_slist *to) {
    curl_easy_setopt(curl, CURLOPT_URL, mail->server);
    curl_easy_setopt(curl, CURLOPT_MAIL_FROM, mail->from);
    curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, to);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, read_text);
    curl_easy_setopt(curl, CURLOPT_READDATA, attempt);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, keep_refusal);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, attempt);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, attempt->curl_message);
    curl_easy_setopt(curl, CURLOPT_USE_SSL, (long)CURLUSESSL_TRY);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 30L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 120L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L); /* signals and threads do not mix */
    return curl_easy_perform(curl);
}

/* The code of the error is the server's reply where it refused, else EIO. */
static rn_value outcome(CURLcode code, const struct attempt *attempt) {
    int reply = atoi(attempt->refusal);
    if (code == CURLE_OK) return rn_text("Email sent.");
    if (reply != 0) return rn_error(reply, "%s", attempt->refusal);
    return rn_error(EIO, "%s", attempt->curl_message[0] != '\0' ? attempt->curl_message : curl_easy_strerror(code));
}

/* ---- The task and its hooks ---- */

static rn_value send_email(rn_call *call) {
    const struct mail *mail = rn_as_pointer(rn_arg(call));
    struct attempt attempt = {.unsent = mail->text};
    struct curl_slist *to = curl_slist_append(NULL, mail->to);
    CURL *curl = curl_easy_init();
    atomic_fetch_add(&attempts, 1);
    CURLcode code = curl != NULL && to != NULL ? transfer(curl, mail, &attempt, to) : CURLE_OUT_OF_MEMORY;
    curl_easy_cleanup(curl);
    curl_slist_free_all(to);
    return outcome(code, &attempt);
}

static const char *address(rn_call *call) { return ((const struct mail *)rn_as_pointer(rn_arg(call)))->to; }

static rn_value sent(rn_call *call, rn_value success) {
    printf("%s: %s\n", address(call), rn_as_text(success));
    return rn_none();
}

/* What it returns becomes the result, see .updates_result below. */
static rn_value resend(rn_call *call, rn_value error) {
    if (rn_error_code(error) >= PERMANENT) {
        printf("%s: refused: %s\n", address(call), rn_error_message(error));
        return rn_keep(error);
    }
    printf("%s: not sent: %s; trying once more\n", address(call), rn_error_message(error));
    rn_value result = send_email(call);
    if (rn_is_error(result)) printf("%s: given up: %s\n", address(call), rn_error_message(result));
    else printf("%s: %s\n", address(call), rn_as_text(result));
    return result;
}

static rn_value finished(rn_call *call, rn_value success, rn_value error) {
    (void)success;
    printf("%s: finished, the first attempt %s\n", address(call), rn_is_error(error) ? "failed" : "succeeded");
    return rn_none();
}

/* ---- The program ---- */

/* A line break in an address would add headers and recipients of its own. */
static bool is_address(const char *text) {
    for (const char *c = text; *c != '\0'; c++)
        if (!isgraph((unsigned char)*c) || *c == '<' || *c == '>') return false;
    return strchr(text, '@') != NULL && strlen(text) < 255;
}

static void write_mail(struct mail *mail, const char *server, const char *from, const char *to) {
    unsigned char id[16];
    char id_text[2 * sizeof id + 1], date[64];
    time_t now = time(NULL);
    struct tm utc;
    if (getentropy(id, sizeof id) != 0) abort(); /* no kernel that runs this refuses 16 bytes */
    for (size_t i = 0; i < sizeof id; i++) snprintf(id_text + 2 * i, 3, "%02x", id[i]);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S +0000", gmtime_r(&now, &utc));
    *mail = (struct mail){.server = server, .from = from, .to = to};
    snprintf(mail->text, sizeof mail->text,
             "Date: %s\r\nFrom: <%s>\r\nTo: <%s>\r\nMessage-ID: <%s%s>\r\nSubject: Hello\r\n\r\n"
             "This mail was sent by a Runium task.\r\n",
             date, from, to, id_text, strchr(from, '@'));
}

/* Sends all mails. Returns how many were sent. */
static int send_all(struct mail *mails, rn_future **futures, int count) {
    rn_runtime *rn = rn_open(.workers = AT_ONCE, .log = rn_log_nothing); /* the hooks tell what failed */
    int sent_count = 0;
    for (int i = 0; i < count; i++)
        futures[i] = rn_run(rn, send_email, .arg = rn_pointer(&mails[i]), .on_success = sent, .on_error = resend,
                            .on_finished = finished, .updates_result = RN_ON_ERROR, .name = mails[i].to);
    for (int i = 0; i < count; i++) {
        sent_count += !rn_is_error(rn_result(futures[i]));
        rn_release(futures[i]);
    }
    rn_close(rn);
    return sent_count;
}

static bool arguments_are_right(int argc, char **argv) {
    if (argc < 4 || (strncmp(argv[1], "smtp://", 7) != 0 && strncmp(argv[1], "smtps://", 8) != 0)) {
        fputs("usage: send_email smtp://HOST[:PORT] FROM TO...\n", stderr);
        return false;
    }
    for (int i = 2; i < argc; i++) {
        if (!is_address(argv[i])) {
            fprintf(stderr, "send_email: argument %d is not an address\n", i);
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv) {
    if (!arguments_are_right(argc, argv)) return 2;
    signal(SIGPIPE, SIG_IGN); /* a connection that breaks is an error of one mail, not the end of the program */
    int count = argc - 3;
    struct mail *mails = calloc((size_t)count, sizeof *mails);
    rn_future **futures = calloc((size_t)count, sizeof(rn_future *));
    if (mails == NULL || futures == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        fputs("send_email: out of memory\n", stderr);
        return 1;
    }
    for (int i = 0; i < count; i++) write_mail(&mails[i], argv[1], argv[2], argv[i + 3]);
    int sent_count = send_all(mails, futures, count);
    printf("%d of %d mails sent, in %u attempts\n", sent_count, count, atomic_load(&attempts));
    curl_global_cleanup();
    free(futures);
    free(mails);
    return sent_count == count ? 0 : 1;
}
