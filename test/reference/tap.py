"""Counts checks and prints them as `ok N - name` or `not ok N - name`."""


class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def check(self, name, passed, detail=""):
        self.count += 1
        self.failed += not passed
        print("%s %d - %s" % ("ok" if passed else "not ok", self.count, name))
        if not passed and detail:
            print("# " + str(detail).replace("\n", "\n# "))

    def finish(self):
        """The exit status.  A run that checked nothing has failed."""
        print("1..%d" % self.count, flush=True)
        return 1 if self.failed or not self.count else 0
