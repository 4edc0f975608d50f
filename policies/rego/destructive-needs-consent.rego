# What cannot be undone needs a confirmation of the person that is verified, fresh and of this very action.
package consent

default allow := false

destructive := {"delete_repository", "drop_table", "send_money"}

allow if not input.action in destructive

allow if {
	input.action in destructive
	input.evidence.verified == true
	input.evidence.user_action == input.action
	is_number(input.evidence.age_seconds)
	input.evidence.age_seconds >= 0
	input.evidence.age_seconds <= 300
}
