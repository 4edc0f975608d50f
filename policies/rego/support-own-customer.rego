# A support agent that works on the data of the customer who is asking, and of nobody else.
package support

import input.args
import input.user

default allow := false

allow if {
	input.action in {"get_customer", "list_orders", "create_ticket"}
	is_own
}

# Refunds besides only up to what was paid, and at most 20.
allow if {
	input.action == "refund"
	is_own
	is_number(args.amount)
	args.amount > 0
	args.amount <= min({args.paid, 20})
}

is_own if {
	is_string(user.id)
	args.customer == user.id
}
