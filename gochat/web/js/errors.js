/** Every failure of a call. code: as Connect names it, such as "unavailable"; reason: a stable word for programs. */
export class ChatError extends Error {
  constructor(code, message, { reason = "", fields = {}, details = {}, retryAfterMs = 0, requestId = "", cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "ChatError";
    Object.assign(this, { code, reason, fields, details, retryAfterMs, requestId });
  }

  /** The same call may succeed later. */
  get transient() {
    return ["unavailable", "deadline_exceeded", "aborted", "resource_exhausted", "canceled"].includes(this.code);
  }
}

/** error: as Connect's JSON has it. status: of HTTP, for answers that are not the server's own, such as a proxy's. */
function toChatError(error, status) {
  const code = error?.code ?? HTTP_CODES[status] ?? "unknown";
  const details = Object.fromEntries((error?.details ?? []).map((detail) => [detail.type, detail.debug ?? {}]));
  const violations = details["google.rpc.BadRequest"]?.fieldViolations ?? [];
  return new ChatError(code, error?.message ?? `the server answered with status ${status}`, {
    reason: details["google.rpc.ErrorInfo"]?.reason,
    fields: Object.fromEntries(violations.map(({ field, description }) => [field, description])),
    details: details["gochat.api.common.v1.ErrorResponse"]?.details,
    retryAfterMs: Math.ceil(parseFloat(details["google.rpc.RetryInfo"]?.retryDelay ?? "0") * 1000),
    requestId: details["gochat.api.common.v1.ErrorResponse"]?.requestId,
  });
}

const HTTP_CODES = {
  400: "internal",
  401: "unauthenticated",
  403: "permission_denied",
  404: "unimplemented",
  429: "unavailable",
  502: "unavailable",
  503: "unavailable",
  504: "unavailable",
};
