# Changes only from Monday to Friday, 9 to 17 o'clock in Berlin. Reading at any time.
package hours

default allow := false

allow if input.request.method == "GET"

allow if {
	input.action in {"create_order", "cancel_order"}
	is_workday
	is_office_hour
}

# `time.now_ns()` is the time at which the gate judges the call.
berlin := [time.now_ns(), "Europe/Berlin"]

is_workday if not time.weekday(berlin) in {"Saturday", "Sunday"}

is_office_hour if {
	[hour, _, _] := time.clock(berlin)
	hour >= 9
	hour < 17
}
