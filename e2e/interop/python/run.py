"""Runs every test beside this file: `python run.py`.

The runner of the standard library is content with no tests at all and with skipped ones; this is not.
"""

import faulthandler
import os
import sys
import unittest

# A hanging client is shown with the stack of each of its threads, before xtask ends the process.
faulthandler.dump_traceback_later(150, exit=True)

here = os.path.dirname(os.path.abspath(__file__))
suite = unittest.defaultTestLoader.discover(here)
result = unittest.TextTestRunner(verbosity=2).run(suite)
if result.testsRun == 0 or result.skipped:
    sys.exit("python tests were skipped or not found")
sys.exit(not result.wasSuccessful())
