# An emergency: the person on call may do a little more, for an hour from the time that the token names.
package breakglass

import input.context.emergency

default allow := false

allow if {
	input.action in {"restart_service", "read_logs", "scale_service"}
	input.user.role == "on_call"
	has_ticket
	is_open
}

# The number of the incident is recorded with the call.
has_ticket if regex.match(`^INC-[0-9]{4,8}$`, emergency.ticket)

is_open if {
	opened := time.parse_rfc3339_ns(emergency.opened_at)
	now := time.now_ns()
	now >= opened
	now - opened <= 3600000000000
}
