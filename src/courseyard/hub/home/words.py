"""Every sentence of the hub's pages, in one place, so that other languages can follow.

Templates reach them as ``words``. Sentences say what it is and what to do; names of courses and
people are put in as text and escaped by the templates.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from courseyard.access import NO_SUCH_COURSE, Role
from courseyard.errors import Problem
from courseyard.units import format_duration

# --- every page -------------------------------------------------------------------------------
SKIP = "Skip to the content"
LOG_OUT = "Log out"
LOG_IN = "Log in"
ADMINISTRATION = "Administration"
HOME = "Your courses"
HELP = "Help desk:"
ERROR_ID = "For the help desk:"

ACCOUNT = "Account"

# --- the course page --------------------------------------------------------------------------
TITLE = "Your courses"
LEAD = "Start a course and be working in seconds. Your files stay with you after it ends."
COURSES = "Courses"
FIND = "Find a course"
FIND_BUTTON = "Find"
FIND_CLEAR = "Show all"
GENERAL = "Work without a course"
GENERAL_LEAD = "The same files, and software for everything else."
OPEN = "Open"
STOP = "Stop"
START = "Start"
START_AS = {
    Role.STUDENT: "Start as a student",
    Role.INSTRUCTOR: "Start as instructor",
    Role.GENERAL: "Start",
}
OPEN_AS = {
    Role.STUDENT: "Open as a student",
    Role.INSTRUCTOR: "Open as instructor",
    Role.GENERAL: "Open",
}
#: The second button of a card, beside "Start as instructor".
AS = {Role.STUDENT: "as a student", Role.INSTRUCTOR: "as instructor", Role.GENERAL: ""}
STOP_AS = {
    Role.STUDENT: "Stop the student server",
    Role.INSTRUCTOR: "Stop the instructor server",
    Role.GENERAL: "Stop",
}
ROLE = {Role.STUDENT: "student", Role.INSTRUCTOR: "instructor", Role.GENERAL: ""}
RUNNING = "running"
STARTING = "starting"
STOPPING = "stopping"
SHOW_PROGRESS = "Show progress"
NO_COURSES = "No course is open to you now."
NO_COURSES_NEXT = (
    "When a teacher opens one or adds you, it appears here. You can compute without one:"
)
NOTHING_FOUND = "No course of yours is called that."
UNDERSTOOD = "Understood"
PEOPLE_DOWN_TITLE = "Your courses cannot be shown now"


PROBLEMS = "What is wrong with its file"
SHOW_PROBLEMS = "See what to change"
MANAGER = "manager"
SUPERVISOR = "supervisor"
STATE = {
    "draft": "not open yet",
    "hidden": "for listed people",
    "archived": "archived",
    "deletable": "archived",
}
#: What a state's chip means, for whoever asks.
STATE_MEANS = {
    "draft": "Only its staff and listed students see it so far.",
    "hidden": "Only people whom its teachers have listed see it.",
    "archived": "The course is over.",
    "deletable": "The course is over.",
}
NOTHING_TO_START = {
    "draft": "Not open yet.",
    "public": "You see this course, but do not work in it.",
    "hidden": "Hidden from students now.",
    "archived": "The course is over. Its files stay readable in your other servers.",
    "deletable": "The course is over and its data may be deleted; its supervisor decides.",
}
COURSE_GONE = "Its course is no longer here. Save your work and stop it."
NOT_INSTALLED = "its software is not installed"
AT_LIMIT = "You run as many servers as you can at once."


def at_limit(limit: int) -> str:
    return (
        f"To start another one, stop one of the {limit} first." if limit > 1 else "Stop it first."
    )


def software_of(released: date) -> str:
    return f"Software of {released:%B %Y}"


def memory(size: str) -> str:
    return f"{size} memory"


def students(number: int) -> str:
    return "1 student" if number == 1 else f"{number} students"


def opens(moment: datetime) -> str:
    return f"opens {moment.day} {moment:%b}"


def found(number: int, more: bool) -> str:
    """How many cards a search left."""
    if more:
        return f"The first {number} are shown; type more to narrow it down"
    return "1 course found" if number == 1 else f"{number} courses found"


def problem(problem: Problem) -> str:
    """What is wrong with a course file, without the folder where it lies."""
    where = f"{problem.file.name}:{problem.line}" if problem.line else problem.file.name
    return (
        f"{where}: {problem.key}: {problem.message}"
        if problem.key
        else f"{where}: {problem.message}"
    )


def shown_first(number: int, total: int) -> str:
    return f"{number} of {total} shown first; search finds all"


def running_since(moment: datetime, now: datetime) -> str:
    """The chip of a running server; the day is said when it is not today."""
    if moment.date() == now.date():
        return f"running since {moment:%H:%M}"
    return f"running since {moment.day} {moment:%b %H:%M}"


def day(moment: datetime) -> str:
    """A day as people say it: ``20 November``."""
    return f"{moment.day} {moment:%B}"


def exact(moment: datetime) -> str:
    """A moment with its zone, for titles: ``Fri 20 Nov 2026 16:00 EET``."""
    return f"{moment:%a} {moment.day} {moment:%b %Y %H:%M %Z}"


def stale(since: datetime, problems: Sequence[Problem]) -> str:
    """For a course's staff: since when which of its files is not followed."""
    when = f"{day(since)}, {since:%H:%M}"
    only_people = all(problem.file.name.endswith("-users.yaml") for problem in problems)
    before = f"has the people of {when}" if only_people else f"is shown as it was on {when}"
    first = problems[0]
    place = f"{first.file.name}, line {first.line}" if first.line else first.file.name
    return f"{before}: {place} has a mistake."


INCOMPLETE = (
    "is shown without the people of its users file, which has a mistake. "
    "Somebody may miss the course until it is corrected."
)


def server_title(title: str, role: Role) -> str:
    """What people call a server: the course, and the role where it is not the usual one."""
    return f"{title} (instructor)" if role is Role.INSTRUCTOR else title


def ended(title: str) -> str:
    return f"{title} has stopped."


# --- administration -----------------------------------------------------------------------------
ADMINISTRATION_LEAD = "What runs now. Whoever is stopped here is told so on the course page."
FIND_SERVER = "Find a person or a course"
COLUMNS = ("Person", "Server", "Started", "Last used")
NOTHING_RUNS = "Nothing runs."
STOPPED_BY_ADMINISTRATOR = "An administrator stopped it. Your files are safe; start it again."


def running_servers(servers: int, people: int) -> str:
    """How much runs."""
    what = "1 server" if servers == 1 else f"{servers} servers"
    whose = "1 person" if people == 1 else f"{people} people"
    return f"{what} of {whose}"


# --- log-in -----------------------------------------------------------------------------------
LOGIN_TITLE = "Log in"
LOGIN_LEAD = "Courses and computing in your browser."
USERNAME = "Username"
PASSWORD = "Password"  # noqa: S105  # nosec
OTP = "One-time code"
LOGIN_BUTTON = "Log in"
LOGIN_WRONG = "This username and password do not belong together. Try again."
LOGIN_NEXT_HINT = "After logging in you go straight to where the link leads."
LOGGED_OUT = "You are logged out."
LOGGED_OUT_NEXT = "Servers that you left running keep running until you stop them or they are idle."
LOGIN_AGAIN = "Log in again"
UNKNOWN_ACCOUNT = (
    "Your account is fine, but it is not one of this service. "
    "Ask the help desk whether you may use it."
)
PEOPLE_DOWN = (
    "We cannot look up who you are at the moment. Your files are safe. Try again in a minute."
)
PASSWORDS_DOWN = "Nobody can log in now: the list of passwords cannot be read. Ask the help desk."
LOGIN_DOWN = (
    "Passwords cannot be checked at the moment. Your files are safe. Try again in a minute."
)


def login_with(service: str) -> str:
    return f"Log in with {service}"


# --- a start ----------------------------------------------------------------------------------
PREPARING = "Getting your place ready"
PREPARING_FOLDERS = "Preparing your folders"
WAITING_FOR_JUPYTER = "Waiting for Jupyter to answer"
OPENING = "Opening"
START_TITLE = "Starting"
START_LEAD = "This takes a few seconds. The page goes on by itself."
CANCEL = "Cancel"
STOPPING_TITLE = "Stopping"
STOPPING_LEAD = "Your server is saving nothing more and stops. The page goes on by itself."
CONFIRM_LEAD = "A link on another page wants to start this for you."
NOT_RUNNING_LEAD = "It is not running now. Your files are safe."
FAILED_LEAD = "did not start."
FILES_SAFE = "Your files are safe."
TRY_AGAIN_BUTTON = "Try again"
BACK = "Back to your courses"
LOG_TITLE = "Last lines of the server's log (for staff)"
TRY_AGAIN = "Try again. If it happens again, ask the help desk."
NEVER_CAME_UP = "The server did not come up."
ENDED_IN_START = "The server ended while it was starting."
OUT_OF_MEMORY_NEXT = "Try again; if it happens at once, ask the help desk."
TIMED_OUT_NEXT = "Many people may be starting now: try again in a minute."
LIMIT_NEXT = "Stop one of them first."
LIMIT_TITLE = "Too many servers at once"
UNNAMED_SERVER = "Servers here belong to a course or an environment."
UNNAMED_NEXT = "Start one of those on your course page."
NO_RENAME = "Servers here are named after their course and cannot be renamed."
LONG_REQUEST = "This request is longer than anything that a start needs."
NO_SUCH_LINK = "No course or environment here has this address."
BAD_LINK = (
    "This link leads away from your own server, so it was not followed and nothing was started. "
    "Ask whoever made it for a right one."
)
CHOOSE_TITLE = "Where do you want to open it?"
CHOOSE_LEAD = "The link does not name a course. Choose one; it is started if it does not run."
CHOOSE = "Choose where to open it"
NOT_YOUR_SERVER_NEXT = (
    "Did somebody send you this link? Ask for one with /hub/go/ and the name of the course in it: "
    "that opens the course for you."
)
NOT_YOUR_SERVER = "This is another person's server. Only that person can open it."
NO_KEY = (
    "Your browser does not show the cookie that opens your server. Allow cookies for this address, "
    "or close all windows of it and log in again."
)
UNEXPECTED = "Something went wrong on our side."


def timed_out(seconds: int) -> str:
    return f"The server was not ready within {format_duration(seconds)}."


def stop_title(title: str) -> str:
    return f"Stop {title}"


def limit_reached(limit: int, running: Sequence[str]) -> str:
    """Why nothing more can be started, with the names of what runs."""
    servers = "1 server" if limit == 1 else f"{limit} servers"
    return f"You can run {servers} at once, and these are running: {', '.join(running)}."


# --- while it runs ----------------------------------------------------------------------------
def culled_idle(seconds: int) -> str:
    return f"It was not used for {format_duration(seconds)}. Your files are safe; start it again."


def culled_age(seconds: int) -> str:
    return f"It had run for {format_duration(seconds)}. Your files are safe; start it again."


def ago(moment: datetime, now: datetime) -> str:
    """``12 minutes ago``; below a minute ``just now``."""
    passed = now - moment
    if passed < timedelta(minutes=1):
        return "just now"
    rounded = int(passed.total_seconds()) // 60 * 60
    return f"{format_duration(rounded)} ago"


TOO_MANY_TRIES = "There were too many wrong passwords."


def too_many_tries(seconds: int) -> str:
    wait = format_duration(seconds)
    return f"{TOO_MANY_TRIES} Wait {wait}, then try again."


# --- tokens -----------------------------------------------------------------------------------
TOKENS = "Tokens for programs"  # nosec
TOKENS_LEAD = (
    "A program that shows a token may do all that you may do here. Make one only if you know "
    "that you need it, and keep it as you keep your password."
)
TOKEN_FOR = "What it is for"  # noqa: S105  # nosec
TOKEN_NOTE = "A program"  # noqa: S105  # nosec
TOKEN_DAYS = "Days for which it is valid"  # noqa: S105  # nosec
TOKEN_MAKE = "Make a token"  # noqa: S105  # nosec
TOKEN_MADE = "Your new token. It is shown this once:"  # noqa: S105  # nosec
TOKEN_WRONG = "That is not your password."  # noqa: S105  # nosec
TOKEN_UNTIL = "until"  # noqa: S105  # nosec
TOKEN_END = "End"  # noqa: S105  # nosec
NO_END = "it is ended here"
LOGGED_IN_ELSEWHERE = (
    "People of this site log in elsewhere, so your password cannot be asked for here, and no token "
    "can be made. Ask the administrators."
)
MADE_ELSEWHERE = (
    "Tokens are made on the page /hub/token, after your password, or by a program with a token."
)
NO_SHARING = "Servers are not shared on this site."
NOT_FOR_PAGES = "Only a visit opens this address, not another page. Open it in a tab of its own."


# --- errors -----------------------------------------------------------------------------------
ERRORS = {
    400: "The browser sent something that we cannot read.",
    403: "This is not yours to open.",
    404: "There is nothing at this address.",
    405: "This address cannot be used that way.",
    409: "This cannot be done now.",
    413: "That is too large.",
    424: "This server is not running.",
    429: "Too many requests or wrong passwords in a short time.",
    500: "Something went wrong on our side.",
    502: "The server does not answer.",
    503: "This does not work at the moment.",
    504: "The server takes too long to answer.",
}
ERROR_NEXT = {
    403: "If you think that it should be, ask the people of the course or the help desk.",
    404: "Check the address, or go back to your courses.",
    424: "Start it again on your course page.",
    429: "Wait a minute and try again.",
    500: "Your files are safe. Try again; if it happens again, ask the help desk.",
    502: "Your files are safe. Try again in a minute.",
    503: "Your files are safe. Try again in a minute.",
    504: "Your files are safe. Try again in a minute.",
}
FORM_TOO_OLD = "This page was open for too long. Go back, reload it and try again."
FORM_OF_OTHERS = (
    "This was sent by a page that is not this service's. Open the page here and try again."
)
LOG_OUT_OF_OTHERS = (
    "A page that is not this service's asked to log you out. You are still logged in."
)
#: As `access` says it for a course that is not there or not to be seen: mostly a mistyped link.
NO_COURSE_TITLE = "No such course"
NO_COURSE = NO_SUCH_COURSE.message
ERROR_OTHER = "This did not work."
