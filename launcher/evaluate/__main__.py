import sys

from launcher.evaluate.app import main

sys.exit(main())
