"""The figures of the page, a module for each: ``figure(report)`` draws it, or says why there is none."""
