"""The REST API: `table` joins the endpoints, each module holds those of one subject."""
