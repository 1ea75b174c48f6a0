<?php

// Runs the tests of the PHP client: `php tests/run.php [part of a name]`. Needs no package and no extension.

declare(strict_types=1);

namespace Kahe\Tests;

error_reporting(E_ALL);
require __DIR__ . '/../autoload.php';
require __DIR__ . '/support.php';

// Every test runs under it: no warning of the client's own calls may get as far as the application.
set_error_handler(throwAlways(...));

foreach (glob(__DIR__ . '/*Test.php') as $file) {
    require $file;
}

exit(Runner::run($argv[1] ?? ''));
