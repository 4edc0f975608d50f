# A policy of some sixty lines, for the bench: refunds by a support agent, with limits by tier, by reason and by time.
package support

default allow := false

allow if {
	input.action == "create_refund"
	is_agent
	is_own_customer
	is_amount
	is_reason
	is_open
	not is_blocked
}

allow if {
	input.action in {"get_order", "list_orders", "get_customer"}
	is_agent
	is_own_customer
}

is_agent if {
	input.agent.id == "support-01"
	input.agent.proof in {"dpop", "mtls"}
}

is_own_customer if input.args.customer == input.user.id

limits := {"gold": 200, "silver": 100, "bronze": 20}

limit := limits[input.user.tier]

total := sum([line.price | some line in input.args.lines])

is_amount if {
	is_number(input.args.amount)
	input.args.amount > 0
	input.args.amount <= limit
	input.args.amount <= total
}

is_reason if input.args.reason in {"damaged", "late", "wrong_item"}

is_reason if {
	input.args.reason == "other"
	count(input.args.note) >= 20
}

is_open if {
	[hour, _, _] := time.clock([time.now_ns(), "Europe/Berlin"])
	hour >= 8
	hour < 20
}

is_blocked if {
	some line in input.args.lines
	startswith(line.sku, "gift-")
}

is_blocked if input.user.id in {"mallory", "trudy"}
