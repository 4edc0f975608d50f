# What cannot be undone needs a confirmation of the person that is verified, fresh and by a deliberate act.
package consent

default allow := false

harmless := {"list_tables", "read_repository"}

destructive := {"delete_repository", "drop_table", "send_money"}

# What the person did to confirm, as the issuer recorded it.
deliberate := {"biometric_confirmation", "hardware_key", "pin_entry"}

allow if input.action in harmless

allow if {
	input.action in destructive
	input.evidence.verified == true
	input.evidence.user_action in deliberate
	is_number(input.evidence.age_seconds)
	input.evidence.age_seconds >= 0
	input.evidence.age_seconds <= 300
}
