# An agent that looks things up and changes nothing.
package research

default allow := false

allow if {
	input.action in {"search", "get_document", "list_documents"}
	not is_confidential
}

is_confidential if "confidential" in input.args.labels

is_confidential if startswith(input.request.path, "/hr/")
