"""The agent: small, the only process with privileges; it acts, and checks every request again."""
