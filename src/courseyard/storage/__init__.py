"""Folders of users and courses under real UIDs: layout, policy, difference, application."""
