import { afterEach, beforeEach } from 'vitest'
import { testBegins, testEnds } from './stolen-time.ts'

beforeEach(testBegins)
afterEach(testEnds)
