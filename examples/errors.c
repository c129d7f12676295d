/* Errors: values with a code, a message, where they arose, and a cause. */
#include <runium.h>

#include <errno.h>
#include <stdio.h>

static rn_value connect_to(const char *server) { return rn_error(ECONNREFUSED, "%s: connection refused", server); }

static rn_value send_email(rn_call *call) {
    rn_value connected = connect_to("mail.example.org");
    if (rn_is_error(connected))
        return rn_error_because(connected, EIO, "email to %s was not sent", rn_as_text(rn_arg(call)));
    return rn_text("Email sent.");
}

static void log_line(void *context, const rn_log_record *record) {
    (void)context;
    printf("log: %s\n", record->message);
}

static void show(rn_value error) {
    char text[500];
    rn_format(error, text, sizeof text);
    printf("%s\n", text);
}

int main(void) {
    rn_runtime *rn = rn_open(.log = log_line);

    printf("A task that fails:\n");
    rn_future *future = rn_run(rn, send_email, .arg = rn_text("bob@example.org"));
    rn_value result = rn_result(future);
    if (rn_is_error(result) && rn_error_code(result) == EIO) show(result);
    rn_release(future);

    printf("A run that cannot start is a future that has failed:\n");
    future = rn_run(rn, send_email, .every_text = "10 parsecs");
    printf("%s\n", rn_error_message(rn_result(future)));
    rn_release(future);

    return rn_close(rn) == RN_OK ? 0 : 1;
}
